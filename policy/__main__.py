"""Serves the pack to an engine: ``pulumi preview --policy-pack policy``."""

import sys
from pathlib import Path

# An engine runs this folder, not the one that holds it as a package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pulumi_policy import PolicyPack

from policy.pack import NAME, POLICIES

PolicyPack(name=NAME, policies=POLICIES)
