"""The stand-in of the command's tests has the codec's own signatures: it cannot drift from it unseen."""

import inspect

import pytest

from gencomp.codec import Codec

from .conftest import FakeCodec


@pytest.mark.parametrize("method", ["encode", "decompress", "verify"])
def test_the_fake_takes_what_the_codec_takes(method: str) -> None:
    real, fake = (inspect.signature(getattr(owner, method)).parameters for owner in (Codec, FakeCodec))
    assert list(fake) == list(real)
    assert [p.kind for p in fake.values()] == [p.kind for p in real.values()]
