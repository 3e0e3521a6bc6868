"""The verbs that bring a run elsewhere: an exported folder, an upload to the hub, a server. In: results/<run>."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmprm.cli.program import folder_of, on_devices, option, read_config


def export(
    run: Annotated[str, typer.Argument(help="the run's name, or its folder results/<run>")],
    folder: Annotated[Path, typer.Argument(help="the folder to write, which must not be there yet")],
    parts: Annotated[
        list[str] | None, option("--parts", "of labels, candidates, prm, policy, metrics; default: all")
    ] = None,
    config: Annotated[
        Path | None, option("--config", "another configuration than the run's own: what `publish` says now")
    ] = None,
) -> None:
    """Write a run's labels, models, candidates and metrics as folders that `datasets` and transformers load."""
    from mmprm.config.runs import find_run
    from mmprm.experiments.sections import EXTRAS
    from mmprm.hub.export import PARTS, export
    from mmprm.report.data_card import source_licences, write_data_card

    results = find_run(run)
    settings = read_config(config or results / "config.json")

    def card(path: Path, named: list[dict[str, str]]) -> None:
        write_data_card(settings, results, path, path.with_name("data_card"), EXTRAS, named)

    export(settings, results, folder, source_licences(settings, results), card, parts or PARTS)


def push(
    folder: Annotated[Path, typer.Argument(help="a folder that `mmprm export` wrote")],
    repo: Annotated[str, typer.Argument(help="owner/name on the hub")],
    part: Annotated[str, option("--part", "data, policy, or prm/<variant>; default: data")] = "data",
    public: Annotated[bool, typer.Option("--public", help="make a new repository public; default: private")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be uploaded, and ask nobody")] = False,
) -> None:
    """Upload a part of an exported folder to the Hugging Face hub; refused where a licence is unknown or forbids it."""
    from mmprm.hub.push import planned, push

    upload = planned(folder, part, repo)
    print(f"{upload.kind} {upload.repo}: {len(upload.files)} files, {upload.size / 2**20:.1f} MiB")
    if dry_run:
        print("\n".join(upload.files))
    else:
        print(push(upload, private=not public))


@on_devices
def serve(
    prm: Annotated[Path, typer.Argument(help="the PRM's model folder, results/<run>/prm/<variant>")],
    host: Annotated[
        str, option("--host", "address to listen on; default: 127.0.0.1, this machine alone")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="port to listen on")] = 8000,
    config: Annotated[
        Path | None, option("--config", "YAML with the sections prompt or engine; default: the PRM's own prompt")
    ] = None,
) -> None:
    """Serve a PRM by vLLM's own server, for `mmprm.client`; ends when told to (Ctrl-C)."""
    from mmprm.client import Service, solution
    from mmprm.config.offline import read_offline_settings
    from mmprm.model import folders
    from mmprm.serving.server import serve

    folder = folder_of(prm)
    settings = read_offline_settings(config).fitted(folders.check_manifest(folder))

    def trial(url: str) -> list[float]:
        with Service(url) as service:
            return service.score([solution("What is 2 + 3?", ["2 + 3 = 5"], "5")])[0].probabilities

    raise typer.Exit(serve(settings, folder, host, port, trial))
