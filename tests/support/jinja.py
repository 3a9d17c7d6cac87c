"""What Python's jinja2, set up as Hugging Face's `apply_chat_template` does, makes of chat templates.

Reads a JSON object from stdin: `sources` (texts of templates by name), `conversations` (lists of roles and texts, or objects with
`messages` and `tools` as chat APIs have them), `now` (the hour of `strftime_now`, in seconds since 1970), and `bos` and `eos` where they are others than `<s>` and `</s>`. Writes one
to stdout: for each name and conversation `{"text": …}`, or `{"error": …}` where the template failed.
"""

import json
import sys
from datetime import datetime, timezone

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    """`{% generation %}`: the marks around what a model learns from, which write what is inside."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    def _write(self, caller):
        return caller()


def raise_exception(message):
    raise TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def main():
    given = json.load(sys.stdin)
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    now = datetime.fromtimestamp(given["now"], timezone.utc)
    environment.globals["strftime_now"] = now.strftime

    def write(source, conversation):
        if isinstance(conversation, list):
            messages = [{"role": role, "content": content} for role, content in conversation]
            conversation = {"messages": messages, "tools": None}
        try:
            text = environment.from_string(source).render(
                **conversation,
                documents=None,
                add_generation_prompt=True,
                bos_token=given.get("bos", "<s>"),
                eos_token=given.get("eos", "</s>"),
            )
            return {"text": text}
        except Exception as error:  # A template may fail in any way that Python can.
            return {"error": f"{type(error).__name__}: {error}"}

    written = {
        name: [
            write(source, conversation) for conversation in given["conversations"]
        ]
        for name, source in given["sources"].items()
    }
    json.dump(written, sys.stdout)


if __name__ == "__main__":
    main()
