from ghostpen.container.names import order_checkpoints, read_checkpoint_step


def test_checkpoints_are_ordered_by_step_and_attempt_newest_first() -> None:
    names = [
        "checkpoint-9",
        "checkpoint-10",
        "status.json",
        "checkpoint-10-attempt-3",
        "checkpoint-x",
        "checkpoint-2",
    ]
    ordered = order_checkpoints([*names, "checkpoint-10-attempt-12"])
    assert ordered == [
        "checkpoint-10-attempt-12",
        "checkpoint-10-attempt-3",
        "checkpoint-10",
        "checkpoint-9",
        "checkpoint-2",
    ]
    assert [read_checkpoint_step(name) for name in ordered] == [10, 10, 10, 9, 2]
