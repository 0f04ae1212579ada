"""The measurements that README and this folder's page show, one after the other; about twelve minutes.

    python benchmarks/suite.py [--only overhead stream …] [arguments for every script, such as --quick or --rounds 3]

The machine should do nothing else. One that fails is named at the end, and the others still run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from harness import HERE

NAMES = ("overhead", "peers", "stream", "memory", "startup", "sync_facade", "scale")


def main() -> int:
    """Runs them; the exit status is the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    options, passed = parser.parse_known_args()
    failed = []
    for name in options.only:
        began_s = time.monotonic()
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py"), *passed], check=False).returncode:
            failed.append(name)
        print(f"   {time.monotonic() - began_s:.0f} s\n", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
