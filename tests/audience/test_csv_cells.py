"""The quick way through ``safe_cell`` is the exact one."""

from mailganer.audience import csv_cells
from mailganer.audience.csv_cells import safe_cell


def test_cells_that_are_passed_over_would_be_left_alone():
    characters = [chr(code) for code in range(0x3000)] + list("＝＋－＠﹦﹢﹣﹫\ufeff🎄")
    texts = [
        pattern.format(each) for each in characters for pattern in ("{}", "a{}", "a{}=1", "{}=1", "a;{}b")
    ]
    quick = [safe_cell(text) for text in texts]
    exact = []
    for text in texts:
        guarded = csv_cells._INSIDE.sub("'", text)
        exact.append(f"'{guarded}" if csv_cells._is_computed(text) else guarded)
    assert quick == exact
