"""Announcements by URL: where they may go, how they are signed, who carries them."""
