"""The rungs of the ladder in history's order: what each one's paper added, and what that was to improve.

A rung is a recipe, or two after one another that share its budget. A name that is no rung here is taken as a recipe of
its own without a story.
"""

from typing import Literal, NamedTuple

Promise = Literal["psnr", "realism", "arithmetic"]


class Part(NamedTuple):
    """A training run of a rung. share: of the rung's budget; later parts start from the run before them."""

    recipe: str
    share: float = 1.0


class Rung(NamedTuple):
    """idea: a sentence. after: the rung that it was to improve on, in `promise`; empty: none is claimed."""

    name: str
    year: int
    idea: str
    paper: str
    after: str = ""
    promise: Promise = "psnr"
    parts: tuple[Part, ...] = ()

    @property
    def runs(self) -> tuple[Part, ...]:
        """What is trained, in order: the recipe of the rung's name unless it says otherwise."""
        return self.parts or (Part(self.name),)


ANCHOR = "balle2018"  # deltas, and the equal budget of arithmetic, are measured against it
LADDER: dict[str, Rung] = {
    one.name: one
    for one in (
        Rung("autoencoder", 2006,
             "Two networks with a bottleneck between them learn to copy the image; what passes it is rounded after "
             "training, and its statistics are counted.",
             "G. Hinton, R. Salakhutdinov: Reducing the dimensionality of data with neural networks. Science"),
        Rung("vae", 2014,
             "The bottleneck holds a distribution in place of a number, and its distance from a prior has a price: "
             "the prior can be drawn from.",
             "D. Kingma, M. Welling: Auto-encoding variational Bayes. ICLR 2014"),
        Rung("theis2017", 2017,
             "Rounding stands in the training itself, with a gradient that ignores it, beside a model of the rate.",
             "L. Theis, W. Shi, A. Cunningham, F. Huszár: Lossy image compression with compressive autoencoders. ICLR"
             " 2017", after="autoencoder"),
        Rung("balle2017", 2017,
             "Noise stands in for rounding, each channel learns its own density, and divisive normalisation (GDN) "
             "evens the coefficients out.",
             "J. Ballé, V. Laparra, E. Simoncelli: End-to-end optimized image compression. ICLR 2017",
             after="autoencoder"),
        Rung("balle2018", 2018,
             "A second, small code, the hyperprior, tells the decoder how much each latent varies.",
             "J. Ballé, D. Minnen, S. Singh, S. J. Hwang, N. Johnston: Variational image compression with a scale "
             "hyperprior. ICLR 2018", after="balle2017"),
        Rung("minnen2018", 2018,
             "The hyperprior predicts the mean of each latent, too.",
             "D. Minnen, J. Ballé, G. Toderici: Joint autoregressive and hierarchical priors for learned image "
             "compression. NeurIPS 2018", after="balle2018"),
        Rung("santurkar2018", 2018,
             "The decoder is first a generator that a discriminator has taught to draw images; the encoder then "
             "learns to find its input.",
             "S. Santurkar, D. Budden, N. Shavit: Generative compression. PCS 2018",
             after="autoencoder", promise="realism"),
        Rung("hybrid", 2019,
             "A classical coder takes the low frequencies, which it codes well; networks learn the rest.",
             "after the layered codecs such as M. Akbari, J. Liang, J. Han: DSSLIC: deep semantic segmentation-based "
             "layered image compression. ICASSP 2019"),
        Rung("light", 2017,
             "Convolutions are split into one by channel and one across channels, at a tenth of the arithmetic.",
             "A. Howard et al.: MobileNets: efficient convolutional neural networks for mobile vision applications. "
             "arXiv 2017", after="base", promise="arithmetic"),
        Rung("base", 2023,
             "Latents are coded in four passes, each predicted from those before it, and one model covers every rate:"
             " the embedded codec's stage 1.",
             "J. Li, B. Li, Y. Lu: Neural video compression with diverse contexts. CVPR 2023; Z. Cui et al.: "
             "Asymmetric gained deep image compression with continuous rate adaptation. CVPR 2021",
             after="minnen2018"),
        Rung("gan", 2023,
             "A discriminator that sees the latents teaches the decoder texture, and realism says how much is drawn. "
             "Half of the budget trains base, the other half this.",
             "F. Mentzer, G. Toderici, M. Tschannen, E. Agustsson: High-fidelity generative image compression. "
             "NeurIPS 2020; E. Agustsson, D. Minnen, G. Toderici, F. Mentzer: Multi-realism image compression with a "
             "conditional generator. CVPR 2023",
             after="base", promise="realism", parts=(Part("base", 0.5), Part("gan", 0.5))),
    )
}  # fmt: skip


def rung(name: str) -> Rung:
    """The rung of a name, or a bare one for any other recipe."""
    return LADDER.get(name) or Rung(name, 0, "A recipe that is no rung of the ladder.", "")
