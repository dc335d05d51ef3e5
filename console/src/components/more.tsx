import { Button, Center } from "@mantine/core";
import { texts } from "../texts";
import { Failure } from "./states";

/** The end of a list of which there may be more: fetches its next page. */
export function More({ query }: { query: { hasNextPage: boolean; isFetchingNextPage: boolean; isFetchNextPageError: boolean; error: unknown; fetchNextPage(): Promise<unknown> } }) {
  if (query.isFetchNextPageError) {
    return <Failure error={query.error} retry={() => void query.fetchNextPage()} />;
  }
  return (
    query.hasNextPage && (
      <Center mt="md">
        <Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          {texts.common.loadMore}
        </Button>
      </Center>
    )
  );
}
