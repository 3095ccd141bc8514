"""Reads metrics with Prometheus' own parsers, and says what they read as JSON.

Called with the file of each format; both must tell the same numbers.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain


def samples(families):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def main():
    plain_file, open_file = sys.argv[1:]
    with open(plain_file, encoding="utf-8") as file:
        plain = list(read_plain(file.read()))
    with open(open_file, encoding="utf-8") as file:
        strict = list(read_open(file.read()))
    old, new = samples(plain), samples(strict)
    moving = ("rialto_chain", "rialto_ledger_time", "process")
    # What moves between the two requests is left out.
    differ = [
        str(key)
        for key in old.keys() | new.keys()
        if old.get(key) != new.get(key) and not key[0].startswith(moving)
    ]
    assert not differ, differ
    json.dump(
        {
            "types": {it.name: it.type for it in strict},
            "samples": [
                {"name": name, "labels": dict(labels), "value": value}
                for (name, labels), value in new.items()
            ],
        },
        sys.stdout,
    )


main()
