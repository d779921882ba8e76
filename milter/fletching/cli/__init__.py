"""The commands, by what they are about. They parse, call and print; no logic lives here."""
