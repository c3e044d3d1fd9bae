"""Codecs behind one interface: this project's models, classical ones, external programs, reference decoders."""
