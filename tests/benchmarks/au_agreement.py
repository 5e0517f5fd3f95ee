"""Agreement of the AU scores with another detector's, picture by picture.

    adafer aus PATH/diffusionfer --output aus.csv
    python tests/benchmarks/au_agreement.py --scores aus.csv \
        --others PATH/diffusionfer/labels_au.csv --output tests/benchmarks/results/au_agreement.md

Tables are joined by their first column, the path of the picture. Spearman's rank
correlation is taken over the pictures that both have scores for. Beside it: how well
each detector's score tells the expression that shows the AU most from neutral faces,
as area under the ROC curve; expressions are the folders' names.
"""

from __future__ import annotations

import argparse
import re
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from adafer._files import check_output_file, new_file
from adafer._versions import versions

# An expression that shows the AU in most of its prototypes.
SHOWN_IN = {
    "AU01": "surprise",
    "AU02": "surprise",
    "AU04": "anger",
    "AU05": "surprise",
    "AU06": "happiness",
    "AU07": "anger",
    "AU09": "disgust",
    "AU10": "disgust",
    "AU12": "happiness",
    "AU15": "sadness",
    "AU17": "sadness",
    "AU20": "fear",
    "AU23": "anger",
    "AU25": "surprise",
    "AU26": "surprise",
}


def main() -> None:
    """Join the tables, correlate, and write the result."""
    options = parse_arguments()
    ours, others = (read(path) for path in (options.scores, options.others))
    joined = ours.add_suffix(" ours").join(others.add_suffix(" others"), how="inner")
    common = [au for au in ours.columns if au in others.columns]
    lines = [
        "# Agreement with the AUs of another detector",
        "",
        f"{len(ours):,} and {len(others):,} pictures, {len(joined):,} of them in both tables. "
        f"{date.today()}, "
        + ", ".join(f"{name} {version}" for name, version in versions().items())
        + ".",
        "",
        "| AU | rank correlation | pictures | others: 10 % to 90 % of the scores "
        "| expression | AUC, ours | AUC, others |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for au in common:
        pair = joined[[f"{au} ours", f"{au} others"]].dropna()
        correlation = spearmanr(pair.iloc[:, 0], pair.iloc[:, 1]).statistic
        low, high = np.quantile(pair.iloc[:, 1], [0.1, 0.9])
        lines.append(
            f"| {au} | {correlation:+.2f} | {len(pair):,} | {low:.2f} to {high:.2f} | "
            f"{' | '.join(areas(au, pair))} |"
        )
    print("\n".join(lines))
    with new_file(options.output) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def areas(au: str, pair: pd.DataFrame) -> list[str]:
    """How well both scores tell an expression from neutral faces."""
    expression = SHOWN_IN.get(au)
    folders = pair.index.str.split("/").str[0]
    kept = folders.isin([expression, "neutral"])
    shown = folders[kept] == expression
    if expression is None or len(set(shown)) < 2:
        return ["-", "-", "-"]
    return [expression, *(f"{roc_auc_score(shown, pair.loc[kept, name]):.2f}" for name in pair)]


def read(path: Path) -> pd.DataFrame:
    """Read a table with a column of file names and columns of AUs."""
    table = pd.read_csv(path)
    aus = {
        column: f"AU{int(found[1]):02d}"
        for column in table.columns
        if (found := re.fullmatch(r"AU ?0*(\d+)", column.strip()))
    }
    return table[list(aus)].rename(columns=aus).set_index(table.iloc[:, 0])


def parse_arguments() -> argparse.Namespace:
    """Read the command line and check where the result goes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="as `adafer aus` writes them")
    parser.add_argument("--others", type=Path, required=True, help="CSV, file names first")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.md")
    options = parser.parse_args()
    check_output_file(options.output)
    return options


if __name__ == "__main__":
    main()
