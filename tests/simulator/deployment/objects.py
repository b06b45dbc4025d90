"""What an operator put into S3 before the deployment."""

from collections.abc import Mapping
from typing import Any


def store_objects(s3: Any, objects: Mapping[str, bytes], region: str) -> None:  # noqa: ANN401  (a client without stubs)
    """Put each of them where its URL says, into buckets that are made."""
    places = {url: url.removeprefix("s3://").partition("/") for url in objects}
    for bucket in dict.fromkeys(bucket for bucket, _, _ in places.values()):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    for url, (bucket, _, key) in places.items():
        s3.put_object(Bucket=bucket, Key=key, Body=objects[url])
