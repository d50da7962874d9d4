"""A real S3 server (moto's) on loopback, for tests, with objects that anybody may read."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request

import boto3

PUBLIC_BUCKET = "idc-open-data"


@contextlib.contextmanager
def s3_server(port: int):
    """Run the server; yield its endpoint URL."""
    endpoint = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "AWS_REGION": "us-east-1"},
    )
    try:
        wait_until_up(endpoint)
        yield endpoint
    finally:
        process.kill()
        process.wait()


def wait_until_up(endpoint: str):
    """Return when the server answers."""
    for _ in range(150):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=2).read()
            return
        time.sleep(0.2)
    raise RuntimeError("the S3 server did not start")


def client(endpoint: str):
    """Return a client that may write."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )


def put_series(endpoint: str, folder, crdc_series_uuid: str, bucket: str = PUBLIC_BUCKET):
    """Store a folder's DICOM files under `<crdc_series_uuid>/`, readable by anybody."""
    s3 = client(endpoint)
    if bucket not in [b["Name"] for b in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=bucket, ACL="public-read")
    for path in sorted(folder.glob("*.dcm")):
        s3.put_object(
            Bucket=bucket,
            Key=f"{crdc_series_uuid}/{path.name}",
            Body=path.read_bytes(),
            ACL="public-read",
        )
