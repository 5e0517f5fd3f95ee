"""Random combinations of action units, as they go together in real faces."""

from __future__ import annotations

import numpy as np

from .rig import PARTING, Intensities

# Units that exclude each other: one closes what the other opens.
EXCLUSIVE: frozenset[frozenset[int]] = frozenset(
    frozenset(pair)
    for pair in (
        (24, 25), (24, 26), (24, 27), (23, 25), (23, 26), (23, 27), (5, 43), (26, 27), (18, 20),
        (18, 12), (12, 15), (20, 22), (20, 23), (16, 24), (10, 15), (12, 22),
    )
)  # fmt: skip

# Units -> how often they are drawn together, in percent.
_BROWS_AND_EYES: dict[tuple[int, ...], float] = {
    (): 8, (1,): 3, (2,): 3, (4,): 4, (1, 2): 10, (1, 2, 5): 6, (1, 4): 7, (1, 2, 4): 5,
    (1, 2, 4, 5): 3, (5,): 3, (4, 5): 2.5, (4, 5, 7): 3, (4, 7): 6, (7,): 3, (6,): 6, (6, 7): 3,
    (4, 6, 7): 1.5, (9,): 4, (4, 9): 4, (4, 7, 9): 2, (6, 9): 1.5, (43,): 4.5, (4, 43): 2,
    (6, 43): 2, (1, 43): 1.5, (7, 43): 1,
}  # fmt: skip
_MOUTH: dict[tuple[int, ...], float] = {
    (): 1, (12,): 4, (12, 25): 5, (12, 25, 26): 3, (12, 14): 2.5, (10,): 2.5, (10, 25): 4.5,
    (10, 17): 2.5, (10, 12, 25): 1.5, (10, 25, 26): 1.5, (14,): 6, (14, 17): 2.5, (14, 24): 3,
    (14, 15): 1, (15,): 4, (15, 17): 7, (15, 25): 2, (16, 25): 5.5, (16, 20, 25): 3,
    (10, 16, 25): 3, (16, 22, 25): 2.5, (17,): 1, (17, 23): 5.5, (17, 24): 6, (18,): 6.5,
    (18, 25): 3, (17, 18): 2, (18, 23): 3, (20,): 3.5, (20, 25): 3.5, (20, 25, 26): 2.5,
    (20, 25, 27): 2.5, (22, 25): 7, (22, 25, 26): 3.5, (23,): 6, (24,): 5.5, (25,): 1,
    (25, 26): 2.5, (26,): 2.5, (25, 27): 9.5, (16, 25, 27): 2,
}  # fmt: skip
_NOBODY_MOVES = 0.05
_ALONE = 0.22
_UPPER = (1, 2, 4, 5, 6, 7, 9, 43)
_LOWER = (10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27)
_LARGEST = 6
_WEAKEST = 0.1


def draw_combination(generator: np.random.Generator) -> Intensities:
    """Draw action units that go together, without an expression in mind.

    About every twentieth face shows none and every fifth one alone (AU16, AU22
    and AU27 bring AU25, as they part the lips). In the others a group of brows and
    eyes and a group of the mouth are drawn from tables of what goes together,
    such as 1 with 2, 4 with 7, 15 with 17, 25 with 26; cheeks (AU06) rise with
    most smiles. At most six units are shown, and none with another that
    excludes it.

    Parameters
    ----------
    generator : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    dict of int to float
        Intensities in [0.1, 1] of the action units that are present.

    Examples
    --------
    >>> import numpy as np
    >>> from adafer.datasets.render import draw_combination
    >>> sorted(draw_combination(np.random.default_rng(4)))
    [4, 7, 16, 25]
    """
    kind = generator.random()
    if kind < _NOBODY_MOVES:
        return {}
    if kind < _NOBODY_MOVES + _ALONE:
        numbers = {int(generator.choice(_UPPER + _LOWER))}
        numbers |= {25} if numbers & set(PARTING) else set()
    else:
        numbers = _draw_groups(generator)
    together = generator.beta(1.5, 1.1)
    result = {}
    for number in sorted(numbers):
        share = 0.45 * together + 0.55 * generator.beta(1.3, 1.0)
        result[number] = float(_WEAKEST + (1 - _WEAKEST) * share)
    for number in PARTING:
        if number in result:
            result[25] = max(result[25], 0.7 * result[number])
    return result


def _draw_groups(generator: np.random.Generator) -> set[int]:
    while True:
        mouth = _draw_from(_MOUTH, generator)
        upper = _draw_from(_BROWS_AND_EYES, generator)
        if 12 in mouth and generator.random() < 0.6:
            upper = tuple({6, *(number for number in upper if number in (7, 43))})
        numbers = {*upper, *mouth}
        is_possible = not any(pair <= numbers for pair in EXCLUSIVE)
        if is_possible and len(numbers) <= _LARGEST:
            return numbers


def _draw_from(
    table: dict[tuple[int, ...], float], generator: np.random.Generator
) -> tuple[int, ...]:
    shares = np.array([*table.values()])
    return list(table)[generator.choice(len(table), p=shares / shares.sum())]
