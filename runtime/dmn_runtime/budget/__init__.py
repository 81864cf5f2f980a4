"""`dmn budget`: does this machine keep up with an acquisition?"""
