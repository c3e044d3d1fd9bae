"""The ladder: from the autoencoder to the hyperprior, a small faithful network for each idea, one file a family."""
