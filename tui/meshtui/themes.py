"""Three looks: dark, light, and high contrast. Colour means state; one accent means focus."""

from __future__ import annotations

from textual.theme import Theme

DEFAULT = "dark"

THEMES = (
    Theme(
        "dark",
        primary="#7aa2f7", secondary="#7aa2f7", accent="#7aa2f7",
        success="#7bc77e", warning="#e0b050", error="#f0717a",
        foreground="#d5d9e2", background="#12151c", surface="#181c25", panel="#222838",
        dark=True,
        variables={"cursor": "#2b3550", "cursor-blur": "#20263a", "frame": "#3b4459", "quiet": "#8b93a7"},
    ),
    Theme(
        "light",
        primary="#2456c4", secondary="#2456c4", accent="#2456c4",
        success="#1c7a34", warning="#8f5f00", error="#b3202c",
        foreground="#1c212b", background="#fbfbfd", surface="#f1f3f7", panel="#e4e8f0",
        dark=False,
        variables={"cursor": "#cfdcf8", "cursor-blur": "#e3e9f6", "frame": "#b4bccb", "quiet": "#5d6678"},
    ),
    Theme(
        "contrast",
        primary="#ffff00", secondary="#ffff00", accent="#ffff00",
        success="#00ff66", warning="#ffd000", error="#ff6b6b",
        foreground="#ffffff", background="#000000", surface="#000000", panel="#000000",
        dark=True,
        variables={"cursor": "#0038a8", "cursor-blur": "#202020", "frame": "#ffffff", "quiet": "#e0e0e0"},
    ),
)  # fmt: skip
