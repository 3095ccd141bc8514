"""The component's way in and out: a class named like each exported interface, with its functions.

The package `wit_world` is made of wit/world.wit when the service is built.
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.texts import Document, Measures
from wit_world.imports import log

from measure import measure


class Texts(exports.Texts):
    def measure(self, document: Document) -> Measures:
        # A function that returns a `result` returns the value, or raises `Err` with the error.
        try:
            found = measure(document.text, document.words_per_minute)
        except ValueError as error:
            raise Err(str(error)) from error
        log.write(log.Level.INFO, f"measured {found.words} words")
        return Measures(found.words, found.longest, found.reading_seconds)
