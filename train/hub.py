"""Models on the Hugging Face hub: one safetensors file and a card; `gencomp.load("user/name")` reads them."""

import json
from pathlib import Path

from gencomp.model import Model

FILE = "model.safetensors"


class HubError(RuntimeError):
    """The hub refused, or cannot be reached."""


def push_to_hub(model: Model, path: Path, name: str, *, private: bool = False) -> str:
    """Upload the model file `path` and its card to the repository `name` ("user/name"), made if missing; its address.

    The token is huggingface_hub's own (`hf auth login`, or HF_TOKEN). Raises HubError.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = str(api.create_repo(name, private=private, exist_ok=True))
        api.upload_file(path_or_fileobj=path, path_in_repo=FILE, repo_id=name)
        api.upload_file(path_or_fileobj=card(model, name).encode(), path_in_repo="README.md", repo_id=name)
    except Exception as error:  # no network, no token, no such user: the library raises a wide family
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise HubError(f"{name} was not uploaded: {first} (log in with `hf auth login`)") from error
    return address


def card(model: Model, name: str) -> str:
    """What the hub shows: how to use the model, and the facts in its file."""
    facts = "\n".join(f"| {key} | {json.dumps(value)} |" for key, value in sorted(model.facts.items()))
    return f"""---
library_name: gencomp
tags: [image-compression]
---
# {model.name}

An image codec for gencomp, model id `{model.id.hex()}`.

```python
import gencomp
codec = gencomp.load("{name}")
```

| fact | value |
|---|---|
{facts}

A realistic decoder may invent detail: not for medical or legal images.
"""
