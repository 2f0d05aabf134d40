"""The command ``techshop``: every module is loaded only when its command runs."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from techshop import ui
from techshop.errors import Failure


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Run TechShop Cloud on this machine: a kind cluster, the images, the chart, and the tests that prove it."""


@group.command()
@click.option("--env", "environment", type=click.Choice(["dev", "staging", "prod"]), default="dev", show_default=True)
@click.option("--workers", type=click.IntRange(0, 9), help="Worker nodes; by default what the environment needs.")
@click.option(
    "--airgap/--no-airgap", default=None, help="Build images from packages, or pull them; found out by itself."
)
def up(environment: str, workers: int | None, airgap: bool | None) -> None:
    """Make the cluster, provide the images, install the chart and place one order."""
    from techshop import install

    if airgap is not None:
        os.environ["TECHSHOP_AIRGAP"] = "1" if airgap else "0"
    install.up(environment, workers)


@group.command()
def down() -> None:
    """Delete the cluster and all that is in it."""
    from techshop import install

    install.down()


@group.command()
@click.option("--backup", default="latest", show_default=True, help="Id of the backup: the time in its name.")
@click.option(
    "--at", default="", help="Moment to go back to, as 2026-11-28T05:00:00Z, or latest for all that was stored."
)
@click.option("--to", "namespace", default="techshop", show_default=True, help="Namespace of the release.")
@click.option("--drop", is_flag=True, help="Let the data that is there go. The storefront is stopped meanwhile.")
@click.option("--kubeconfig", type=click.Path(exists=True, path_type=Path), help="Another cluster than the project's.")
def restore(backup: str, at: str, namespace: str, drop: bool, kubeconfig: Path | None) -> None:
    """Restore a backup of MongoDB into a release."""
    from techshop import paths, restore

    restore.restore(namespace, backup, at=at, drop=drop, kubeconfig=kubeconfig or paths.KUBECONFIG)


@group.command()
@click.option("--check", is_flag=True, help="Change nothing; fail when a file is not what its sources make.")
def docs(check: bool) -> None:
    """Make the chart's schema, README.md, annotations and dashboards of what they are written in."""
    from techshop import dashboards, valuesdocs

    valuesdocs.write(check=check)
    dashboards.write(check=check)


@group.group()
def cluster() -> None:
    """Make, describe and delete the kind cluster."""


@cluster.command("create")
@click.option(
    "--workers", type=click.IntRange(0, 9), help="Worker nodes; 0 by default: the control plane takes the pods."
)
@click.option("--recreate", is_flag=True, help="Delete the cluster that is there, with all data in it, first.")
def cluster_create(workers: int | None, recreate: bool) -> None:
    """Make the cluster, or bring back the one that is there."""
    from techshop import cluster

    cluster.create(workers, recreate=recreate)


@cluster.command("delete")
def cluster_delete() -> None:
    """Delete the cluster: nothing of it stays."""
    from techshop import cluster

    cluster.delete()


@cluster.command("status")
def cluster_status() -> None:
    """Show the nodes and how they are; the exit code is 1 when the cluster isn't there or isn't well."""
    from techshop import status

    status.show()


@group.group()
def images() -> None:
    """Build and load the images that an air-gapped cluster needs."""


@images.command("build")
@click.argument("names", nargs=-1)
def images_build(names: tuple[str, ...]) -> None:
    """Build the images from packages, or only those named."""
    from techshop import images

    images.build(list(names) or None)


@images.command("load")
def images_load() -> None:
    """Load the images into the cluster's nodes."""
    from techshop import images

    images.load()


@images.command("list")
def images_list() -> None:
    """List the images, what they are made from, and where they are."""
    from techshop import images

    images.list_()


@group.group("tools")
def tools_group() -> None:
    """Install the command-line tools that the project uses."""


@tools_group.command("install")
@click.argument("names", nargs=-1)
def tools_install(names: tuple[str, ...]) -> None:
    """Install the pinned tools into .techshop/bin, or only those named."""
    from techshop import tools

    tools.install(names or None)
    for name in names or tools.pinned():
        ui.say(tools.described(name))


@group.group("release")
def release() -> None:
    """Publish the chart: what the release workflow runs."""


@release.command("tag")
def release_tag() -> None:
    """Print the name of this version's release."""
    from techshop import publish

    print(publish.tag())


@release.command("notes")
def release_notes() -> None:
    """Print what the changelog says of this version."""
    from techshop import publish

    print(publish.notes())


@release.command("sbom")
def release_sbom() -> None:
    """Print the chart's bill of materials in CycloneDX."""
    import json

    from techshop import publish

    print(json.dumps(publish.bill(), indent=2))


@release.command("image")
def release_image() -> None:
    """Print the storefront's image, as the chart names it."""
    from techshop import images

    print(images.references(False)["app.image"])


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@release.command("package")
@click.argument("folder", type=_FOLDER)
@click.option("--keyring", type=_FILE, required=True, help="The secret key, as `gpg --export-secret-keys` writes it.")
@click.option("--key", required=True, help="Part of the key's user name.")
@click.option("--passphrase-file", type=_FILE, help="The key's passphrase.")
def release_package(folder: Path, keyring: Path, key: str, passphrase_file: Path | None) -> None:
    """Package and sign the chart into FOLDER, and print the package's path."""
    from techshop import publish

    print(publish.package(folder, keyring, key, passphrase_file))


@release.command("index")
@click.argument("folder", type=_FOLDER)
@click.option("--downloads", required=True, help="Address under which each release's files are.")
@click.option("--previous", type=_FILE, help="The index of the versions before.")
def release_index(folder: Path, downloads: str, previous: Path | None) -> None:
    """Index the package in FOLDER, and print the index's path."""
    from techshop import publish

    print(publish.index(folder, downloads, previous))


@group.command("test", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run the tests: all layers, or those named; what follows goes to pytest."""
    from techshop import testing

    sys.exit(testing.run(arguments))


def main() -> None:
    """Run the command line; a failure is told in three parts: what, the lines that matter, what to do."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        group.main(prog_name="techshop", standalone_mode=False)
        _prune()
    except Failure as failure:
        _explain(failure)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        ui.say("\nInterrupted. The same command goes on from here.")
        sys.exit(130)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _prune() -> None:
    """Remove Go's private caches once everything that a command needed is built."""
    from techshop import gobuild

    gobuild.prune()


def _explain(failure: Failure) -> None:
    ui.console.print("[bold red]Failed:[/] ", end="")
    ui.console.print(failure.what, markup=False)
    for line in failure.tail.splitlines():
        ui.console.print(f"  │ {line}", markup=False, style="dim")
    if failure.advice:
        ui.console.print(failure.advice, markup=False)


if __name__ == "__main__":
    main()
