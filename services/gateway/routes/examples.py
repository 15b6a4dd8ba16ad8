"""The examples of the routes: what one types, and what comes back."""

from __future__ import annotations

from services.gateway.http.examples import Example, News

_FILE = "f568cef1-e57d-11f1-81fd-4dbb386e52cf"
_OUTPUT = "f57fabef-e57d-11f1-8c3d-21750256c1e7"
_DEPLOY = "f51c4c2c-e57d-11f1-9d0e-4dbb386e52cf"
_ALGORITHM = "f546d3eb-e57d-11f1-b4a6-4dbb386e52cf"
_RUN = "f57abb05-e57d-11f1-ad8b-21750256c1e7"
_SAMPLE = "0b1c2d3e-e57e-11f1-92c4-4dbb386e52cf"
_TRAINING = "6a7b8c9d-e57e-11f1-8f10-4dbb386e52cf"
_BENCHMARK = "7b8c9d0e-e57e-11f1-a3b7-4dbb386e52cf"
_WORKER = "16e62247-e57d-11f1-b6d2-21750256c1e7"
_VARIABLES = {_ALGORITHM: "ALGORITHM", _FILE: "FILE"}
_LINE = "2026-11-21 07:34:17 INFO slice 0: 62 % between the limits\n"

UPLOAD = Example("curl -s --data-binary @slice.h5 $U/api/v0/files", {"file_id": _FILE})
DOWNLOAD = Example("curl -s -o slice.h5 $U/api/v0/files/$FILE")
DELETE_FILE = Example("curl -s -X DELETE $U/api/v0/files/$FILE", {"detail": "File deleted successfully"})
UPLOAD_URL = Example(
    'curl -s "$(curl -s $U/api/v1/files/scan-1/upload-url | jq -r .url)" -T scan.h5\n'
    """curl -s -d '{"algorithm_id":"'$ALGORITHM'","input_dataset_ids":["scan-1"]}' $U/api/v1/executions"""
)
FILES = Example(
    'curl -s "$U/api/v1/files?kind=output&since=2026-11-21"',
    [
        {
            "file_id": _OUTPUT,
            "size_bytes": 8390656,
            "etag": "5b1c8e0f4a7d2936",
            "time_created": "2026-11-21T07:34:18.020334+00:00",
            "kind": "output",
            "project": "default",
            "execution_id": _RUN,
            "attempt": 1,
        }
    ],
)
FILE_INFO = Example(
    "curl -s $U/api/v1/files/$FILE/info",
    {
        "file_id": _FILE,
        "size_bytes": 33556480,
        "datasets": [
            {
                "name": "image",
                "shape": [64, 512, 512],
                "dtype": "<u2",
                "chunks": [16, 128, 128],
                "compression": ["gzip"],
                "size_bytes": 33554432,
                "stored_bytes": 21018233,
                "attributes": {"unit": "nm"},
                "attributes_left_out": 0,
                "statistics": {"min": 0, "max": 61243, "mean": 20417.2},
                "statistics_absent": None,
            }
        ],
        "datasets_left_out": 0,
    },
)
SLICE = (
    Example('curl -s -o slice.png "$U/api/v1/files/$FILE/slice?dataset=image&index=32"'),
    Example('curl -s -o slice.npy "$U/api/v1/files/$FILE/slice?dataset=image&axis=2&index=100&format=npy"'),
)

DEPLOY = Example(
    "(cd stretch && python -m zipfile -c ../stretch.zip pyproject.toml Runner.py)\n"
    "curl -s --data-binary @stretch.zip $U/api/v1/algorithms",
    {
        "deploy_id": _DEPLOY,
        "status": "COMPLETED",
        "path": "upload",
        "algorithm_id": _ALGORITHM,
        "algorithm_name": "stretch",
        "algorithm_major_version": "1",
        "algorithm_minor_version": "0",
        "changed": True,
    },
)
DEPLOY_LOCAL = Example(
    'curl -s -X POST "$U/api/v0/deploy/local?path=/srv/algorithms/stretch"',
    {
        "algorithm_id": _ALGORITHM,
        "algorithm_name": "stretch",
        "algorithm_major_version": "1",
        "algorithm_minor_version": "0",
    },
)
DEPLOY_LOCAL_ASYNC = Example(
    'curl -s -X POST "$U/api/v0/deploy/local-async?path=/srv/algorithms/stretch"', {"deploy_id": _DEPLOY}
)
ALGORITHMS = Example(
    'curl -s "$U/api/v0/algorithm/all?algorithm_type=Image2Image&positive_tag=contrast"',
    [
        {
            "algorithm_id": _ALGORITHM,
            "algorithm_name": "stretch",
            "algorithm_version": "1",
            "algorithm_minor_versions": ["0"],
            "latest_algorithm_minor_version": "0",
            "algorithm_minor_version": "0",
            "algorithm_type": "Image2Image",
            "algorithm_tags": ["contrast"],
            "supported_devices": ["cpu"],
            "default_device": "cpu",
        }
    ],
)
REMOVE = Example("curl -s -X DELETE $U/api/v1/algorithms/stretch/1", {"detail": "Algorithm removed"})

EXECUTE = Example(
    "curl -s -d '{sent}' $U/api/v0/execute-algorithm",
    {"execution_id": _RUN},
    complete=True,
    sent={"algorithm_id": _ALGORITHM, "input_dataset_ids": [_FILE], "additional_parameters": {"cut": 2}},
    variables=_VARIABLES,
)
EXECUTION = Example(
    'curl -s "$U/api/v1/executions/$RUN?wait=30"',
    {
        "execution_id": _RUN,
        "algorithm_id": _ALGORITHM,
        "status": "COMPLETED",
        "progress": 1.0,
        "input_dataset_ids": [_FILE],
        "output_dataset_ids": [_OUTPUT],
        "resolved_execution_device": "cpu",
        "additional_parameters": {"cut": 2},
        "resolved_parameters": {"cut": 2.0},
        "session_token": None,
        "time_submitted": "2026-11-21T07:34:17.087760+00:00",
        "time_started": "2026-11-21T07:34:17.102334+00:00",
        "attempt": 1,
        "queue_seconds": 0.014574,
        "run_seconds": 0.046731,
        "peak_memory_bytes": 62128128,
        "log": _LINE,
        "error": None,
    },
)
EXECUTIONS = Example(
    'curl -s "$U/api/v1/executions?status=COMPLETED&algorithm=stretch&limit=1"',
    [
        {
            "execution_id": _RUN,
            "algorithm_id": _ALGORITHM,
            "algorithm_name": "stretch",
            "algorithm_major_version": "1",
            "algorithm_minor_version": "0",
            "status": "COMPLETED",
            "progress": 1.0,
            "time_started": "2026-11-21T07:34:17.102334+00:00",
            "time_completed": "2026-11-21T07:34:17.149065+00:00",
            "project": "default",
            "attempt": 1,
        }
    ],
)
STOP = Example("curl -s -X POST $U/api/v0/executions/$RUN/stop", {"detail": "Stop request posted successfully"})
EXECUTION_EVENTS = Example(
    "curl -sN $U/api/v1/executions/$RUN/events",
    [
        News("log", {"execution_id": _RUN, "attempt": 1, "offset": 0, "text": _LINE}),
        News("progress", {"execution_id": _RUN, "attempt": 1, "progress": 1.0}),
        News(
            "status",
            {
                "execution_id": _RUN,
                "algorithm_id": _ALGORITHM,
                "status": "COMPLETED",
                "input_dataset_ids": [_FILE],
                "output_dataset_ids": [_OUTPUT],
                "additional_parameters": {"cut": 2},
                "session_token": None,
                "time_started": "2026-11-21T07:34:17.102334+00:00",
            },
            id=106,
        ),
    ],
)
EVENTS = Example(
    "curl -sN $U/api/v1/events",
    [
        News(
            "status",
            {
                "execution_id": _RUN,
                "project": "default",
                "status": "COMPLETED",
                "attempt": 1,
                "time": "2026-11-21T07:34:17.149065+00:00",
                "algorithm_name": "stretch",
            },
            id=106,
        )
    ],
    complete=True,
)

SAMPLE = Example(
    "curl -s -d '{sent}' $U/api/v0/sample",
    {"sample_id": _SAMPLE},
    sent={"files": [{"image": [_FILE], "mask": ["mask-1"]}], "tags": ["cells"]},
    variables=_VARIABLES,
)
DELETE_SAMPLE = Example("curl -s -X DELETE $U/api/v0/sample/$SAMPLE", {"detail": "Sample deleted successfully"})
DELETE_CHECKPOINT = Example(
    "curl -s -X DELETE $U/api/v0/checkpoint/$CHECKPOINT", {"detail": "Checkpoint deleted successfully"}
)
TRAIN = Example(
    "curl -s -d '{sent}' $U/api/v0/train-algorithm",
    {"training_id": _TRAINING},
    complete=True,
    sent={"algorithm_id": _ALGORITHM, "training_data": [_SAMPLE], "additional_parameters": {"epochs": 20}},
    variables={**_VARIABLES, _SAMPLE: "SAMPLE"},
)
BENCHMARK = Example(
    "curl -s -d '{sent}' $U/api/v0/benchmark-algorithm",
    {"benchmark_id": _BENCHMARK},
    complete=True,
    sent={"algorithm_id": _ALGORITHM},
    variables=_VARIABLES,
)

QUEUES = Example(
    "curl -s $U/api/v1/queues",
    {
        "items": [
            {
                "name": "recorder",
                "waiting": 12,
                "consumers": 1,
                "in_per_second": 40.5,
                "out_per_second": 40.3,
                "oldest_seconds": 0.31,
                "oldest_at_least": False,
                "dead": 0,
                "parked": 0,
            }
        ],
        "dead": 0,
        "parked": 0,
    },
)
WORKERS = Example(
    "curl -s $U/api/v1/workers",
    [
        {
            "worker_id": "bench-1",
            "incarnation": _WORKER,
            "state": "live",
            "reason": "",
            "host": "bench-1",
            "pid": 6655,
            "version": "0.1.0",
            "started": "2026-11-21T07:30:02.096540+00:00",
            "heartbeat_seconds": 0.4,
            "lanes": [{"device_class": "cpu", "device": "cpu", "slots": 2, "busy": 1}],
            "free_slots": 1,
            "runs": [
                {
                    "execution_id": _RUN,
                    "attempt": 1,
                    "status": "RUNNING",
                    "algorithm_name": "stretch",
                    "algorithm_version": "1.0",
                    "device_class": "cpu",
                    "since": "2026-11-21T07:34:17.102334+00:00",
                }
            ],
        }
    ],
)
DEAD_LETTERS = Example(
    "curl -s $U/api/v1/dead-letters",
    {
        "items": [
            {
                "dead_letter_id": "1",
                "queue": "ingest",
                "reason": "voxloom.file.uploaded.v1: body is not JSON",
                "time": "2026-11-21T07:34:45.890228+00:00",
                "parked": False,
                "type": "voxloom.file.uploaded.v1",
                "subject": _FILE,
                "routing_keys": [f"file.uploaded.default.{_FILE}"],
                "body_bytes": 16,
            }
        ],
        "more": False,
    },
)
REPLAY = Example(
    "curl -s -X POST $U/api/v1/dead-letters/1/replay", {"detail": "The dead letter was given back to its queue"}
)
REPLAY_MANY = Example(
    "curl -s -d '{sent}' $U/api/v1/dead-letters/replay",
    {"replayed": 1, "not_found": ["2"]},
    sent={"ids": ["1", "2"]},
)

PRINCIPAL = Example(
    """curl -s -X PUT -d '{"name":"Anna Berg"}' $U/api/v1/principals/anna""",
    {
        "principal_id": "anna",
        "name": "Anna Berg",
        "admin": False,
        "disabled": False,
        "created_at": "2026-11-30T09:12:04.117253+00:00",
        "created_by": "root",
    },
)
MEMBER = Example(
    """curl -s -X PUT -d '{"role":"member"}' $U/api/v1/projects/lab1/members/anna""",
    {
        "project_id": "lab1",
        "principal_id": "anna",
        "role": "member",
        "created_at": "2026-11-30T09:12:31.530417+00:00",
        "created_by": "root",
    },
)
LOGIN = Example(
    """curl -s -d '{"name":"anna","password":"correct horse battery"}' $U/api/v1/login""",
    {
        "token_id": "4Rt8wLq0ZbXe",
        "principal_id": "anna",
        "name": "login",
        "projects": None,
        "rights": None,
        "status": "good",
        "created_at": "2026-11-30T09:13:02.004518+00:00",
        "created_by": "anna",
        "expires_at": "2026-11-30T21:13:02.004518+00:00",
        "revoked_at": None,
        "token": "vox_4Rt8wLq0ZbXe_...",
    },
)
TOKEN = Example(
    """curl -s -d '{"principal_id":"anna","name":"microscope 2","days":365}' $U/api/v1/tokens""",
    {
        "token_id": "7Kx2mQ9dVt4B",
        "principal_id": "anna",
        "name": "microscope 2",
        "projects": None,
        "rights": None,
        "status": "good",
        "created_at": "2026-11-30T09:13:02.004518+00:00",
        "created_by": "root",
        "expires_at": "2027-11-30T09:13:02.004518+00:00",
        "revoked_at": None,
        "token": "vox_7Kx2mQ9dVt4B_...",
    },
)
RETENTION = Example(
    """curl -s -X PUT -d '{"file_days":3,"execution_days":14}' $U/api/v1/projects/lab1/retention""",
    {
        "project_id": "lab1",
        "file_days": 3.0,
        "execution_days": 14.0,
        "training_days": None,
        "server": {"file_days": 7.0, "execution_days": 30.0, "training_days": 30.0},
        "changed_at": "2026-11-30T09:12:31.530417+00:00",
        "changed_by": "anna",
    },
)
LIMITS = Example(
    """curl -s -X PUT -d '{"runs_at_once":4,"stored_bytes":500000000000,"weight":2}' $U/api/v1/projects/lab1/limits""",
    {
        "project_id": "lab1",
        "runs_at_once": 4,
        "stored_bytes": 500000000000,
        "weight": 2.0,
        "used": {"runs_at_once": 4, "runs_waiting": 17, "stored_bytes": 31457280},
        "changed_at": "2026-11-30T09:12:31.530417+00:00",
        "changed_by": "root",
    },
)
