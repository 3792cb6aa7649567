"""docs/report.schema.json from the report's own types: `make report-schema` writes it."""

import json
from pathlib import Path
from typing import Final

from core.report.json_schema import json_schema

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "report.schema.json"


def text() -> str:
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
