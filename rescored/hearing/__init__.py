"""Sound to performed notes, in seconds. Never imports `notation`: they meet in `music.Performance`."""
