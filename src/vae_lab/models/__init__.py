"""What encoder, decoder and prior make together."""
