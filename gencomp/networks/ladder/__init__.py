"""The ladder: the steps by which learned compression came to where it is, each a small network of its own.

    autoencoder     a bottleneck and mean squared error; quantised when the training is over
    vae             a distribution for each latent: the rate is a KL divergence
    theis2017       rounding inside training, and a rate that is a density's
    balle2017       noise for rounding, and divisive normalisation
    balle2018       a second code says how wide each latent's density is
    minnen2018      and where it lies
    santurkar2018   a decoder that was a generator first: tens of bytes for an image
    hybrid          the coarse image by JPEG's own coder, the rest learned
    light           separable convolutions: a tenth of the arithmetic
    base, gan       this project's own: gencomp/networks/hyperprior.py

Read them in this order, each from its docstring: the paper, its equations, what was kept and what differs. Every
network here has one file and one row of `FAMILIES`; its recipe is a row of train/recipes.py. All of them write the same
files, most of them with latents at 1/16 of the image's sides, and each has every quality in one model: the quality
divides the latents by a finer or coarser step, in place of the one model for each rate that most of the papers train.
"""
