import json

from hpt_ros.cli.walk import Walk, stages


def finish(walk, stage):
    stage.result.parent.mkdir(parents=True, exist_ok=True)
    stage.result.touch()
    walk.mark_done(stage)


def test_a_finished_walk_has_nothing_left_to_do(tmp_path):
    walk = Walk.quick(tmp_path, "reach")
    assert not any(walk.is_done(stage) for stage in stages(walk))
    for stage in stages(walk):
        finish(walk, stage)
    assert all(walk.is_done(stage) for stage in stages(walk))


def test_a_changed_stage_is_run_again_with_all_that_read_it(tmp_path):
    walk = Walk.quick(tmp_path, "reach")
    for stage in stages(walk):
        finish(walk, stage)
    longer = walk.changed(episodes=None, trials=None, steps=5)
    plan = stages(longer)
    assert [longer.is_done(stage) for stage in plan] == [True, True, False, True, True]
    finish(longer, plan[2])
    assert [longer.is_done(stage) for stage in plan] == [True, True, True, False, False]


def test_a_lost_result_is_made_again(tmp_path):
    walk = Walk.quick(tmp_path, "reach")
    for stage in stages(walk):
        finish(walk, stage)
    stages(walk)[1].result.unlink()
    assert [walk.is_done(stage) for stage in stages(walk)][:2] == [True, False]


def test_time_adds_up_over_interruptions(tmp_path):
    walk = Walk.quick(tmp_path, "reach")
    stage = stages(walk)[0]
    for _ in range(2):
        with walk.timed(stage):
            pass
    assert json.loads((tmp_path / "stages.json").read_text())["record"]["seconds"] > 0
