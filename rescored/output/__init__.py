"""A score to the things that people take away: MusicXML, MIDI, SVG, PDF, JSON, sound."""
