"""`python -m vae_lab`."""

from vae_lab.cli import main

main()
