"""Known vulnerabilities of what mec_tf requires, as installed here.

    python .ci/audit.py PIP_AUDIT

PIP_AUDIT is the program; it stands in an environment of its own. Fails where a
direct requirement has a known vulnerability. What could not be looked up is
named: a machine without a way to the database passes, and says so.
"""

import json
import re
import subprocess
import sys
import tempfile
from importlib import metadata

from packaging.requirements import Requirement

UNREACHABLE = r"connection|timed out|timeout|resol|unreachable|max retries"


def direct() -> dict[str, str]:
    """Names and versions of the requirements, those of extras left out."""
    found = map(Requirement, metadata.requires("mec_tf") or ())
    return {
        one.name: metadata.version(one.name)
        for one in found
        if one.marker is None or one.marker.evaluate({"extra": ""})
    }


def main() -> str | None:
    """Returns why the audit failed, or None."""
    pins = [f"{name}=={version}" for name, version in direct().items()]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        options = ["--progress-spinner", "off", "--format", "json"]
        options += ["--no-deps", "--disable-pip", "--requirement", file.name]
        done = subprocess.run(
            [sys.argv[1], *options], capture_output=True, text=True
        )
    if not done.stdout.strip():
        if re.search(UNREACHABLE, done.stderr, re.IGNORECASE):
            print(
                "NOT AUDITED: the database of vulnerabilities is out of reach"
            )
            return None
        return f"pip-audit failed:\n{done.stderr}"
    packages = json.loads(done.stdout)["dependencies"]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if skipped:
        print(f"NOT AUDITED, unknown to the database: {', '.join(skipped)}")
    print(f"audited: {len(packages) - len(skipped)} of {len(pins)}")
    findings = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no release'}"
        for one in packages
        for vulnerability in one.get("vulns", ())
    ]
    return "\n".join(findings) or None


if __name__ == "__main__":
    sys.exit(main())
