window.YTD.note_tweet.part0 = [
  {
    "noteTweet": {
      "noteTweetId": "900",
      "updatedAt": "2024-01-05T12:00:00.000Z",
      "lifecycle": {
        "value": "Visible",
        "name": "note_tweet"
      },
      "createdAt": "2024-01-05T12:00:00.000Z",
      "core": {
        "styletags": [],
        "urls": [],
        "text": "A long post begins here, and it says a good deal about harbours, boats and fog, far more than a short one could.",
        "mentions": [],
        "cashtags": [],
        "hashtags": []
      }
    }
  }
]