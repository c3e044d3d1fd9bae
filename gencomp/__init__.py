"""The codec: a photograph to a small file and back."""
