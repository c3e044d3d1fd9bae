"""A program that fetches one file of the package index as it is: `python pip_fetch.py PROJECT FILE OUT LIMIT`.

Index, mirror, proxy, certificates and passwords are those of the user's pip. `pip download` would run the set-up of a
source archive to learn its dependencies; so that nothing in it is executed, the parts of pip are called that find a
link and read it. They are not public, which is why this is a program of its own. It prints the bytes that have come.
"""

import sys
from pathlib import Path


def main(project: str, file: str, out: str, limit: int) -> None:
    """Write the file to `out`; SystemExit with a reason where the index lacks it or it has more than `limit` bytes."""
    from pip._internal.commands import create_command

    command = create_command("download")
    options, _ = command.parse_args([project])
    with command.main_context(), Path(out).open("wb") as stream:
        session = command.get_default_session(options)  # type: ignore[attr-defined]
        finder = command._build_package_finder(options, session)  # type: ignore[attr-defined]
        links = [found.link for found in finder.find_all_candidates(project) if found.link.filename == file]
        if not links:
            sys.exit(f"pip's index cannot be reached, or has no {file}")
        headers = {"Accept-Encoding": "identity"}
        with session.get(links[0].url_without_fragment, headers=headers, stream=True) as answer:
            answer.raise_for_status()
            for block in answer.iter_content(1 << 20):
                stream.write(block)
                print(len(block), flush=True)
                if stream.tell() > limit:
                    sys.exit(f"{file} is larger than expected")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
