"""Container images without an engine: an OCI archive of one-layer images, as `ctr images import` reads it."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_PREFIX = "application/vnd.oci.image"


@dataclass(frozen=True)
class Image:
    """One image: its name, what is in it and how it starts.

    Args:
        name: full name with registry and tag.
        files: path in the image and the file that goes there.
        tree: a folder that becomes the image's root, beside ``files``.
        command: the entrypoint.
        user: the user it runs as.
    """

    name: str
    files: Mapping[str, Path] = field(default_factory=dict)
    tree: Path | None = None
    command: Sequence[str] = ()
    user: str = ""


def write(images: Sequence[Image], target: Path) -> None:
    """Write ``images`` into the OCI archive ``target``."""
    with tarfile.open(target, "w") as tar:
        listed = [_add_image(tar, target.parent, image) for image in images]
        index = {"schemaVersion": 2, "mediaType": f"{_PREFIX}.index.v1+json", "manifests": listed}
        _add_bytes(tar, "index.json", json.dumps(index).encode())
        _add_bytes(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')


def _add_image(tar: tarfile.TarFile, scratch: Path, image: Image) -> dict[str, Any]:
    layer = scratch / ".layer.tar"
    with tarfile.open(layer, "w") as out:
        if image.tree:
            out.add(image.tree, ".", filter=_plain)
        for path, source in image.files.items():
            out.add(source, path.lstrip("/"), filter=_program)
    with layer.open("rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    size = layer.stat().st_size
    tar.add(layer, _blob(digest))
    layer.unlink()
    config = {
        "architecture": _ARCH.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {
            "Entrypoint": list(image.command) or None,
            "User": image.user,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_PREFIX}.manifest.v1+json",
        "config": _document(tar, f"{_PREFIX}.config.v1+json", config),
        "layers": [{"mediaType": f"{_PREFIX}.layer.v1.tar", "digest": digest, "size": size}],
    }
    entry = _document(tar, f"{_PREFIX}.manifest.v1+json", manifest)
    return {**entry, "annotations": {"io.containerd.image.name": image.name}}


def _document(tar: tarfile.TarFile, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(content, sort_keys=True).encode()
    digest = "sha256:" + hashlib.sha256(text).hexdigest()
    _add_bytes(tar, _blob(digest), text)
    return {"mediaType": kind, "digest": digest, "size": len(text)}


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = 0
    return entry


def _program(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime, entry.mode = 0, 0o755
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
