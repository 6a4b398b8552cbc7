"""Runs Python scripts one after the other as they are, each in its own folder: the libraries take longer to import than a tiny model to answer.

usage: python snippets.py REQUEST ANSWER

REQUEST  [{"script": path, "cwd": folder}]
ANSWER   of each {"out": what it printed, "error": null or the end of its traceback}
"""

import contextlib
import io
import json
import os
import runpy
import sys
import traceback

# Threads of a tiny model only wait for each other.
os.environ["OMP_NUM_THREADS"] = "1"
with open(sys.argv[1], encoding="utf-8") as file:
    request = json.load(file)
answers = []
for each in request:
    os.chdir(each["cwd"])
    printed, error = io.StringIO(), None
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(each["script"], run_name="__main__")
    except Exception:
        error = traceback.format_exc()[-2000:]
    answers.append({"out": printed.getvalue(), "error": error})
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(answers, file)
