"""The record of the benchmark has the form that ``shmpipe bench --picture`` reads."""

import json

from shmpipe import bench


def test_a_record_has_each_round_of_both_systems_and_their_quartiles(tmp_path):
    path = tmp_path / "record.json"
    assert bench.main(["--quick", "--case", "send and recv", "--cpus", "1", "--json", str(path)]) == 0
    record = json.loads(path.read_text())
    assert (record["schema"], record["reference"]) == (4, "stdlib")
    assert all(record[field] for field in ("date", "command", "cpu", "kernel", "cpus"))
    assert [system["name"] for system in record["systems"]] == ["stdlib", "shm"]
    theirs, ours = record["cells"]
    for cell in (theirs, ours):
        assert cell["workload"] == "send and recv, one CPU"
        assert [round["block"] for round in cell["rounds"]] == [0, 1, 2]
        assert 0 < cell["low"] <= cell["median"] <= cell["high"]
    ratios = [a["figure"] / b["figure"] for a, b in zip(theirs["rounds"], ours["rounds"])]
    assert abs(sorted(ratios)[1] - ours["median_ratio_to_pipe"]) < 1e-9
