"""Look around in a latent space: the answers, the page that asks, and the notebook's widget."""
