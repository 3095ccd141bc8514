"""Reads OTLP with OpenTelemetry's published protobufs, and says what it reads as JSON.

Called with the files of traces and, after `--`, those of metrics.
"""

import json
import sys

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def read(kind, file):
    message = kind()
    with open(file, "rb") as contents:
        message.ParseFromString(contents.read())
    return message


def value(attribute):
    return getattr(attribute.value, attribute.value.WhichOneof("value"))


def attributes(of):
    return {it.key: value(it) for it in of.attributes}


def main():
    split = sys.argv.index("--")
    spans, metrics = [], []
    for file in sys.argv[1:split]:
        for resource in read(ExportTraceServiceRequest, file).resource_spans:
            assert attributes(resource.resource)["service.name"] == "rialto"
            for span in resource.scope_spans[0].spans:
                assert span.end_time_unix_nano >= span.start_time_unix_nano > 0
                spans.append(
                    {
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "name": span.name,
                        "kind": span.kind,
                        "attributes": attributes(span),
                    }
                )
    for file in sys.argv[split + 1 :]:
        for resource in read(ExportMetricsServiceRequest, file).resource_metrics:
            for metric in resource.scope_metrics[0].metrics:
                data = getattr(metric, metric.WhichOneof("data"))
                for point in data.data_points:
                    whole = metric.WhichOneof("data") == "histogram"
                    metrics.append(
                        {
                            "name": metric.name,
                            "unit": metric.unit,
                            "attributes": attributes(point),
                            "value": point.count if whole else point.as_int or point.as_double,
                        }
                    )
    json.dump({"spans": spans, "metrics": metrics}, sys.stdout)


main()
