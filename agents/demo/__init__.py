"""The demo: the whole loop with real models on real data, told as a story that checks itself.

`models.py` trains, `serving.py` and `traffic.py` run in processes of their own, `stage.py` starts
them, `story.py` says what must be seen, `run.py` goes through it, `screen.py` shows it.
"""
