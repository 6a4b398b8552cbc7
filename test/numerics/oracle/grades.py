"""Grades answers as trusted implementations do.

usage: python grades.py REQUEST.json ANSWER.json

request: {"pairs": [[answer, expected], ...]}; answer: {"rougeL": [...], "f1": [...], "exact": [...]}.
ROUGE-L by rouge-score without stemming; F1 and exact match as SQuAD's evaluation script defines them, written down here again.
"""

import collections
import json
import re
import string
import sys

from rouge_score import rouge_scorer


def normal(text):
    text = "".join(ch for ch in text.lower() if ch not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(answer, expected):
    said, wanted = normal(answer).split(), normal(expected).split()
    if not said or not wanted:
        return float(said == wanted)
    common = sum((collections.Counter(said) & collections.Counter(wanted)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(said), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        pairs = json.load(file)["pairs"]
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(
            {
                "rougeL": [scorer.score(expected, answer)["rougeL"].fmeasure for answer, expected in pairs],
                "f1": [f1(*pair) for pair in pairs],
                "exact": [normal(answer) == normal(expected) for answer, expected in pairs],
            },
            file,
        )
