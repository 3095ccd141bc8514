"""The service's own logic, without a host."""

import unittest

from measure import Found, measure


class Measure(unittest.TestCase):
    def test_words_are_counted(self):
        found = measure(" to measure\nis to know ", 100)
        self.assertEqual(found, Found(words=5, longest="measure", reading_seconds=3.0))

    def test_readers_read_200_words_a_minute_unless_the_caller_knows_better(self):
        self.assertEqual(measure("one two").reading_seconds, 0.6)

    def test_what_cannot_be_measured_is_refused_with_the_reason(self):
        with self.assertRaisesRegex(ValueError, "`text` has no words"):
            measure(" \n")
        with self.assertRaisesRegex(ValueError, "`words_per_minute` is 0"):
            measure("word", 0)


if __name__ == "__main__":
    unittest.main()
