"""What is compared, on which crops, in which order: sources, crops, trials."""
