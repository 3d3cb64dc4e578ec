# SPDX-License-Identifier: GPL-3.0-or-later
# Runs on a Raspberry Pi Pico W with the stock Anvil firmware: flashes its LED in Morse code for people who are
# logged in. settings.py beside it has the board's key and the gateway's address.
import anvil.pico
import uasyncio as a
from machine import Pin

from settings import KEY, URL

MORSE = {
    "A": ".-", "B": "-...", "C": "-.-.", "D": "-..", "E": ".", "F": "..-.", "G": "--.", "H": "....", "I": "..",
    "J": ".---", "K": "-.-", "L": ".-..", "M": "--", "N": "-.", "O": "---", "P": ".--.", "Q": "--.-", "R": ".-.",
    "S": "...", "T": "-", "U": "..-", "V": "...-", "W": ".--", "X": "-..-", "Y": "-.--", "Z": "--..",
    "0": "-----", "1": ".----", "2": "..---", "3": "...--", "4": "....-", "5": ".....", "6": "-....", "7": "--...",
    "8": "---..", "9": "----.", ".": ".-.-.-", ",": "--..--", "?": "..--..", "!": "-.-.--", "/": "-..-.",
    "-": "-....-", "@": ".--.-.", "=": "-...-", "+": ".-.-.", ":": "---...", "'": ".----.",
}
# How long the LED is on and then off, in units. A unit is a dot; 3 are between letters, 7 between words.
UNITS = {".": (1, 1), "-": (3, 1), " ": (0, 2), "/": (0, 2)}
LONGEST_MS = 60000

led = Pin("LED", Pin.OUT, value=0)
now = None   # what is being flashed: the answer that its caller got
task = None  # the task that flashes it


def to_morse(text):
    words = []
    for word in text.upper().split():
        letters = [MORSE[c] for c in word if c in MORSE]
        if letters:
            words.append(" ".join(letters))
    return " / ".join(words)


def stop():
    global now
    led.off()
    now = None


# A task of its own: while it sleeps, the board answers other calls and the gateway's pings.
async def blink(morse, unit_ms):
    for symbol in morse:
        on, off = UNITS[symbol]
        if on:
            led.on()
            await a.sleep_ms(on * unit_ms)
        led.off()
        await a.sleep_ms(off * unit_ms)
    stop()


@anvil.pico.callable(is_async=True)
async def flash(text, unit_ms=120):
    """Begins to flash, and answers at once with what it will do."""
    global now, task
    # Asked here and not in blink(): the gateway tells the caller's address to the call's own task only.
    caller = await anvil.pico.get_user_email()
    if now:
        raise Exception("The LED is busy: %s is flashing." % now["who"])
    if not isinstance(text, str) or not isinstance(unit_ms, int) or not 40 <= unit_ms <= 400:
        raise Exception("flash(text, unit_ms) takes a text and a number from 40 to 400.")
    morse = to_morse(text)
    if not morse:
        raise Exception("There is nothing in this text that Morse code has.")
    ms = sum([sum(UNITS[symbol]) for symbol in morse]) * unit_ms
    if ms > LONGEST_MS:
        raise Exception("This would take %d seconds; %d are allowed." % (ms // 1000, LONGEST_MS // 1000))
    now = {"who": caller, "text": text, "morse": morse, "unit_ms": unit_ms, "ms": ms}
    task = a.create_task(blink(morse, unit_ms))
    print(caller, "flashes", text)
    return now


@anvil.pico.callable(is_async=True)
async def who():
    """Who is calling, and who is flashing at the moment."""
    return {"you": await anvil.pico.get_user_email(), "flashing": now}


@anvil.pico.callable
def dark():
    """Stops whatever is being flashed."""
    if now:
        task.cancel()
    stop()


# The gateway's policy has decided who may call before the board hears of it. A board can insist on somebody
# all the same, for instance when its key is used on another gateway tomorrow: True is anybody who is logged in,
# a text is one address in lower case.
#
# @anvil.pico.callable(is_async=True, require_user="ann@example.com")
# async def test():
#     for _ in range(20):
#         led.toggle()
#         await a.sleep_ms(50)

# Does not return. no_led: the library would use the LED to show that it is connected.
anvil.pico.connect(KEY, url=URL, no_led=True)
