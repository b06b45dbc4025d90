"""Writes what is generated: user data in template.yaml and the program that it names; docs/ pages, a picture, a schema.

With `--check` it changes nothing, and fails when a change is needed.
"""

import argparse
import json
import sys

from agent_stack.adapters.ssm.class_document import ClassDocument
from infra import (
    codes,
    decisions,
    doctor_looks,
    layout,
    metrics_page,
    notifications,
    parameters,
    parity,
    user_data,
    vm_files,
)

CLASSES_SCHEMA = user_data.ROOT / "docs" / "reference" / "classes.schema.json"


def main() -> int:
    """Write or check; the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a change is needed")
    check = parser.parse_args().check
    of_vms = vm_files.wanted()
    template = of_vms[user_data.TEMPLATE]
    wanted = {
        **of_vms,
        parameters.PAGE: parameters.page(template),
        parameters.SPECIFICATION: parameters.specification(template),
        decisions.PAGE: decisions.page(),
        notifications.PAGE: notifications.page(),
        layout.PICTURE: layout.picture(),
        codes.PAGE: codes.page(),
        doctor_looks.PAGE: doctor_looks.page(),
        parity.PAGE: parity.page(),
        metrics_page.PAGE: metrics_page.page(),
        CLASSES_SCHEMA: json.dumps(ClassDocument.model_json_schema(), indent=2) + "\n",
    }
    if missing := parameters.ungrouped(template):
        sys.stderr.write(f"template.yaml shows in no parameter group: {', '.join(sorted(missing))}\n")
        return 1
    stale = vm_files.stale(wanted)
    if check and stale:
        sys.stderr.write(f"not up to date: {', '.join(path.name for path in stale)}; run scripts/generate\n")
        return 1
    for path in stale:
        path.write_text(wanted[path])
        sys.stdout.write(f"written: {path.relative_to(user_data.ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
