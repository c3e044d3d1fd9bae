"""The perceptual study: people compare pictures, the analysis ranks the codecs."""
