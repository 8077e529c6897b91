from tests import goals


def test_the_page_says_what_the_results_say() -> None:
    page = goals.PAGE.read_text(encoding="utf-8")
    assert goals.table() in page, "python -m tests.goals renews it"
    assert goals.renewed(page) == page


def test_what_has_been_reached_is_not_lost() -> None:
    missed = [goal for goal, _, reached in goals.rows() if not reached]
    assert missed == [
        "x2, the goal beyond: EFDN, 260K parameters",
        "x4, the goal beyond: EFDN, 276K parameters",
        "x2: `tiny`, int8, at least 5 times as fast as FSRCNN of one channel in fp32, Xeon with VNNI",
        "x2: `tiny`, int8, at least 5 times as fast as FSRCNN of one channel in fp32, EPYC without",
        "x2: at a 10th of its time in fp32 or less",
        "no picture of the 129 more than 0.05 dB below bicubic interpolation",
    ]
