"""The workbench: `python app.py` opens it on http://127.0.0.1:7860."""

from rescored.ui.server import main

if __name__ == "__main__":
    main()
