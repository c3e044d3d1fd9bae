"""The perceptual study: people compare images, the analysis ranks the codecs."""
