from runner.sources.progress import listener


def test_the_end_of_a_phase_is_said_and_the_counting_now_and_then() -> None:
    said: list[str] = []
    moment = 0.0
    hear = listener(said.append, lambda: moment)
    for percent in range(0, 100, 10):
        moment += 1
        hear(f"Receiving objects:  {percent}% ({percent * 2}/200), {percent} KiB | 1 KiB/s")
    hear("remote: Compressing objects: 100% (9/9), done.")
    hear("Receiving objects: 100% (200/200), 100 KiB | 1 KiB/s, done.")
    hear("Resolving deltas: 100% (7/7), done.")
    hear("something else")
    assert said == [
        "receiving objects: 80 of 200, 40 KiB | 1 KiB/s",
        "receiving objects: 180 of 200, 90 KiB | 1 KiB/s",
        "receiving objects: 200, 100 KiB | 1 KiB/s",
        "resolving deltas: 7",
    ]
