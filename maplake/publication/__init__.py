"""Raw files out of the lab: manifests, transfer lists, and proof that a copy is whole."""

from maplake.publication.manifest import make_manifest, read_manifest, sessions_of
from maplake.publication.transfer import batch
from maplake.publication.verify import Verified, verify

__all__ = ["Verified", "batch", "make_manifest", "read_manifest", "sessions_of", "verify"]
