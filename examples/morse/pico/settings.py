# SPDX-License-Identifier: GPL-3.0-or-later
# What `sallyport pico add` printed. The key is the board's identity: whoever has it is the board.
KEY = "<the key>"
URL = "wss://morse.example.com/boards/uplink"
